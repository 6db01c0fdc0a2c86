import auth

print("audit-events", auth.check("x"))
