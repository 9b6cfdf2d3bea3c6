-- Whether this role has the rights of the roles that it is a member of without SET ROLE.
SELECT r.rolinherit AS inherits
FROM pg_roles r
WHERE r.rolname = current_user
