select
    order_id,
    customer_id,
    segment,
    country,
    cast(ordered_at as timestamptz) as ordered_at,
    {{ in_euro("amount", "currency") }} as amount,
    cast(ds as date) as ds
from {{ source("lake", "orders_enriched") }}
where {{ in_partitions("ds") }}
