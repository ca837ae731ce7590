select
    payment_id,
    order_id,
    cast(paid_at as timestamptz) as paid_at,
    method,
    {{ in_euro("amount", "currency") }} as amount,
    cast(ds as date) as ds
from {{ source("lake", "payments") }}
where {{ in_partitions("ds") }}
