-- Bytes on disk of one datname; null if it was dropped meanwhile.
SELECT pg_database_size($1)::float8 AS size
