import auth

print("execution", auth.check("x"))
