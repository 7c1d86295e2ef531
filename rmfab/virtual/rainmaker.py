def leave_stale_identity(flash):
    pass
