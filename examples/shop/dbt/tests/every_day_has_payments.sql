-- A day without a single payment has not been loaded: everything below it would be built from nothing.
{{ config(meta={"owner": "team-ingest@shop.example"}) }}
select cast(day as date) as ds
from generate_series(date '{{ var("from") }}', date '{{ var("to") }}' - 1, interval 1 day) as days(day)
where cast(day as date) not in (select ds from {{ ref("stg_payments") }})
