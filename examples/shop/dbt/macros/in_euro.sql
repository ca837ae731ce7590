{% macro in_euro(amount, currency) -%}
    cast(cast({{ amount }} as decimal(12, 2)) * case {{ currency }}
        {%- for code, rate in var("euro_rates").items() %} when '{{ code }}' then {{ rate }}{% endfor %} end as decimal(12, 2))
{%- endmacro %}
