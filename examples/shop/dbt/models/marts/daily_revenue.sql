select
    ds,
    count(*) as orders,
    count(payment_id) as paid_orders,
    sum(amount) as ordered,
    sum(paid_amount) as revenue
from {{ ref("orders") }}
where {{ in_partitions("ds") }}
group by ds
