import auth

print("notification", auth.check("x"))
