# -*- coding: latin-1 -*-
"""Written in another century."""
import string, sys

class OldStyle:
    count = 0L

    def __init__(self, (x, y), name='a'):
        self.x = x
        self.name = name
        print >>sys.stderr, "class NotThere: %s" % name

    def raise_it(self):
        raise ValueError, "def not_there(): pass"

    def catch_it(self):
        try:
            exec "def not_there(): pass" in {}
        except (IOError, OSError), e:
            print e
        return `self.x` <> 1

    def octal(self): return 0777

def old_function(a, b=u'x', c=ur'y'):
    print 'a', \
        'b'
    return a

class NewStyle(object):
    __metaclass__ = Meta
    class Nested(OldStyle):
        def method(self, *args, **kw):
            lambda (a, b): a + b

	def tabbed(self):
		pass

VERSION = 2
