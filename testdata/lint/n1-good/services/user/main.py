import auth

print("user", auth.check("x"))
