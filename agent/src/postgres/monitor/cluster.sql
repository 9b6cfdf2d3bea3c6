-- The identifier of the cluster that answers. A copy of a cluster has the same identifier; another cluster has another one.
SELECT system_identifier::text AS system_identifier
FROM pg_control_system()
