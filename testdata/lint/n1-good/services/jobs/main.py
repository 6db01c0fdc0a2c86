import auth

print("jobs", auth.check("x"))
