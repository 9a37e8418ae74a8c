class Tabs:
	first = 1
	def method(self):
		if self:
			def inner(): pass
		return inner
	class Nested:
		def method(self): pass
	after = 2

def after(): pass
if after:
	x = 1
	if x:
		def deep(): pass
def no_newline(): pass