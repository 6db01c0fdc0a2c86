import auth

print("job-scheduling", auth.check("x"))
