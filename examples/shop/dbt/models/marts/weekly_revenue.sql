select
    cast(date_trunc('week', ds) as date) as ds,
    count(*) as days,
    cast(sum(orders) as bigint) as orders,
    cast(sum(paid_orders) as bigint) as paid_orders,
    sum(revenue) as revenue
from {{ ref("daily_revenue") }}
where {{ in_partitions("ds") }}
group by 1
