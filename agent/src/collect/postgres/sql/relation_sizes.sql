-- Exact sizes of the relations asked for. These functions wait for whoever has the relation locked, so nobody is asked for who does.
SELECT x.oid,
       pg_relation_size(x.oid) AS main_bytes,
       pg_table_size(x.oid) AS all_bytes
FROM unnest($1::oid[]) x (oid)
