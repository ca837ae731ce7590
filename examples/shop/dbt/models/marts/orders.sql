select
    placed.order_id,
    placed.customer_id,
    placed.segment,
    placed.country,
    placed.ordered_at,
    placed.amount,
    paid.payment_id,
    paid.method,
    coalesce(paid.amount, 0) as paid_amount,
    placed.ds
from {{ ref("stg_orders") }} as placed
left join {{ ref("stg_payments") }} as paid on paid.order_id = placed.order_id and paid.ds = placed.ds
where {{ in_partitions("placed.ds") }}
