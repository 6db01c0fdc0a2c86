import auth

print("auth", auth.check("x"))
