-- Bytes on disk of one tablespace; null if it was dropped meanwhile.
SELECT pg_tablespace_size($1)::float8 AS size
