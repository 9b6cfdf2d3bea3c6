-- Extensions of this datname, with the version that this server would install now. That version is null if the files are gone. A datname
-- without extensions has one row without a name.
SELECT current_database()::text AS datname,
       e.extname::text AS extension,
       e.extversion AS installed,
       a.default_version AS available
FROM (SELECT) one
LEFT JOIN pg_extension e ON true
LEFT JOIN pg_available_extensions() a ON a.name = e.extname
ORDER BY e.extname
LIMIT $1
