-- Which cluster answers: a copy of it says the same, another one does not.
SELECT system_identifier::text AS system_identifier
FROM pg_control_system()
