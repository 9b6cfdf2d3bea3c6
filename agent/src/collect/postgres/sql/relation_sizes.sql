-- Exact sizes of the relations $1. These functions wait for locks, so locked relations are not in the list.
SELECT x.oid,
       pg_relation_size(x.oid) AS main_bytes,
       pg_table_size(x.oid) AS all_bytes
FROM unnest($1::oid[]) x (oid)
