# a byte order mark is before this
π = 3.14159
größe: "Länge" = 1

class Übung:
    名前 = "クラス class X:"

    def 計算(self, α=1, β="ü:"): return α

    def __init__(self):
        self.été = "ü"; self.après = 2

    "ünïcode"; 横 = 1; 縦 = 2

async def naïve(): return "ß"
class Ω(Übung): ω = "𝕏"; ψ = 1
def f(a="𝕏𝕏𝕏", b=1): "def g(): pass"
