def check(token):
    return bool(token)
