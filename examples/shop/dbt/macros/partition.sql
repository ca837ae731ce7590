{# A model is cut by its column ds, into days or weeks as its meta declares. A run builds the partitions of
   [from, to), and only those: repeated, it leaves the same rows, since what the range held goes first, in the same
   transaction. dbt's own delete+insert would keep the rows of a day that has become empty. #}

{% macro delete_partitions() %}
    {%- if is_incremental() -%}
        delete from {{ this }} where {{ in_partitions("ds") }}
    {%- endif -%}
{% endmacro %}

{# Whole weeks for a weekly model, whatever days were asked for: half a week would leave its row twice. #}
{% macro in_partitions(column) -%}
    {%- set first, past = "date '" ~ var("from") ~ "'", "date '" ~ var("to") ~ "'" -%}
    {%- if model.config.meta.dataforge.partitioning.kind == "weekly" -%}
        {%- set first, past = "date_trunc('week', " ~ first ~ ")", "date_trunc('week', " ~ past ~ " + 6)" -%}
    {%- endif -%}
    {{ column }} >= {{ first }} and {{ column }} < {{ past }}
{%- endmacro %}
