import auth

print("targets", auth.check("x"))
