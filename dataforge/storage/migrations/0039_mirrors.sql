-- Mirrors: whoever shows the ledger's states elsewhere, and how far each has come, as it says itself.
--
-- What a mirror has shown stands where it shows it, and where it goes on is its own affair. Here is only what somebody
-- who watches the platform asks: is what people look at the present, and how much is still to come.

create table mirror (
    environment smallint not null references environment,
    name text not null check (name <> '' and length(name) <= 200),
    shown_through timestamptz not null,  -- all that changed before is shown
    waiting bigint not null check (waiting >= 0),  -- changes that are known to wait
    told_at timestamptz not null,
    primary key (environment, name)
);
