from setuptools import setup

setup(name="shared-libs", version="1.0.0", py_modules=["auth"])
