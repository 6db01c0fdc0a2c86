import auth

print("job-management", auth.check("x"))
