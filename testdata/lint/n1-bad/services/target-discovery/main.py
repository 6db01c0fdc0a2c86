import auth

print("target-discovery", auth.check("x"))
