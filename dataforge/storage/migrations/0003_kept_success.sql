-- A run that is cleared runs again under its own id, and until it has succeeded the success before it stays the last
-- one of the partition. `past` marks the claim of that success: it decides nothing of what the partition is now.

alter table write add column past boolean not null default false;
