import os

class Windows(object):
    """Line ends of another system.

    def no(self): pass
    """
    CR = "\r"

    def save(self,
             path):
        self.path = path

    @property
    def size(self): return 1

def main(): pass
DONE = True
