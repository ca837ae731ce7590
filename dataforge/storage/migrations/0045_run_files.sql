-- How long after its end a month of runs is written to a file of the archive, of each environment by itself.

alter table environment add column run_days integer not null default 400 check (run_days between 1 and 36500);
