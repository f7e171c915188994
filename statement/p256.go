package statement

import "math/big"

// This file checks P-256 signatures with plain integers, for browsers only: the
// standard library's four curves would add a quarter to what a visitor downloads
// (docs/decisions/0013). There is nothing secret in checking a signature, so its
// timing may show all. Tests hold it against crypto/ecdsa; elsewhere that is used.

// The curve y^2 = x^3 - 3x + b over the integers modulo p, its order n and its
// generator g (SEC 2, section 2.4.2).
var (
	p256P = number("ffffffff00000001000000000000000000000000ffffffffffffffffffffffff")
	p256N = number("ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551")
	p256B = number("5ac635d8aa3a93e7b3ebbd55769886bc651d06b0cc53b0f63bce3c3e27d2604b")
	p256G = &point{
		number("6b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296"),
		number("4fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5"), big.NewInt(1),
	}
)

func number(hex string) *big.Int {
	n, _ := new(big.Int).SetString(hex, 16)
	return n
}

// point is a point in Jacobian coordinates (x/z^2, y/z^3); z is 0 at infinity.
type point struct{ x, y, z *big.Int }

func mod(n *big.Int) *big.Int    { return n.Mod(n, p256P) }
func mul(a, b *big.Int) *big.Int { return mod(new(big.Int).Mul(a, b)) }
func sub(a, b *big.Int) *big.Int { return mod(new(big.Int).Sub(a, b)) }
func times(k int64, a *big.Int) *big.Int {
	return mod(new(big.Int).Mul(big.NewInt(k), a))
}

// plainPoint reads an uncompressed point; nil if it is not on the curve.
func plainPoint(k PublicKey) *point {
	if k.Algorithm() != p256Scheme {
		return nil
	}
	x, y := new(big.Int).SetBytes(k[1:33]), new(big.Int).SetBytes(k[33:])
	if x.Cmp(p256P) >= 0 || y.Cmp(p256P) >= 0 {
		return nil
	}
	right := mod(new(big.Int).Add(sub(mul(mul(x, x), x), times(3, x)), p256B))
	if mul(y, y).Cmp(right) != 0 {
		return nil
	}
	return &point{x, y, big.NewInt(1)}
}

// plainVerify is ECDSA verification (FIPS 186-5, section 6.4.2) of a hash of 32
// bytes.
func plainVerify(k PublicKey, hash, r32, s32 []byte) bool {
	q := plainPoint(k)
	r, s := new(big.Int).SetBytes(r32), new(big.Int).SetBytes(s32)
	if q == nil || r.Sign() == 0 || s.Sign() == 0 || r.Cmp(p256N) >= 0 || s.Cmp(p256N) >= 0 {
		return false
	}
	w := new(big.Int).ModInverse(s, p256N)
	u1 := new(big.Int).Mul(new(big.Int).SetBytes(hash), w)
	u2 := new(big.Int).Mul(r, w)
	at := combine(u1.Mod(u1, p256N), p256G, u2.Mod(u2, p256N), q)
	if at.z.Sign() == 0 {
		return false
	}
	inverse := new(big.Int).ModInverse(at.z, p256P)
	x := mul(at.x, mul(inverse, inverse))
	return x.Mod(x, p256N).Cmp(r) == 0
}

// combine is u1·g + u2·q, both multiplied in one go.
func combine(u1 *big.Int, g *point, u2 *big.Int, q *point) *point {
	both := g.add(q)
	sum := &point{big.NewInt(1), big.NewInt(1), new(big.Int)}
	for i := 255; i >= 0; i-- {
		sum = sum.double()
		switch u1.Bit(i) + 2*u2.Bit(i) {
		case 1:
			sum = sum.add(g)
		case 2:
			sum = sum.add(q)
		case 3:
			sum = sum.add(both)
		}
	}
	return sum
}

// double is 2a ("dbl-2001-b" of the Explicit-Formulas Database).
func (a *point) double() *point {
	delta, gamma := mul(a.z, a.z), mul(a.y, a.y)
	beta := mul(a.x, gamma)
	alpha := times(3, mul(sub(a.x, delta), new(big.Int).Add(a.x, delta)))
	x := sub(mul(alpha, alpha), times(8, beta))
	yz := new(big.Int).Add(a.y, a.z)
	z := sub(sub(mul(yz, yz), gamma), delta)
	y := sub(mul(alpha, sub(times(4, beta), x)), times(8, mul(gamma, gamma)))
	return &point{x, y, z}
}

// add is a + b ("add-2007-bl"), with the cases that the formula leaves out.
func (a *point) add(b *point) *point {
	if a.z.Sign() == 0 {
		return b
	}
	if b.z.Sign() == 0 {
		return a
	}
	aa, bb := mul(a.z, a.z), mul(b.z, b.z)
	u1, u2 := mul(a.x, bb), mul(b.x, aa)
	s1, s2 := mul(a.y, mul(b.z, bb)), mul(b.y, mul(a.z, aa))
	h, r := sub(u2, u1), times(2, sub(s2, s1))
	if h.Sign() == 0 {
		if r.Sign() == 0 {
			return a.double()
		}
		return &point{big.NewInt(1), big.NewInt(1), new(big.Int)}
	}
	h2 := times(2, h)
	i := mul(h2, h2)
	j, v := mul(h, i), mul(u1, i)
	x := sub(sub(mul(r, r), j), times(2, v))
	y := sub(mul(r, sub(v, x)), times(2, mul(s1, j)))
	zz := new(big.Int).Add(a.z, b.z)
	z := mul(sub(sub(mul(zz, zz), aa), bb), h)
	return &point{x, y, z}
}
