"""The jobs service: owns PostgreSQL, accepts jobs, hands them out under leases, and decides every state."""
