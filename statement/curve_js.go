package statement

func (k PublicKey) onCurve() bool { return plainPoint(k) != nil }

func (k PublicKey) verifyP256(hash, sig []byte) bool {
	r, s, ok := splitDER(sig)
	return ok && plainVerify(k, hash, r, s)
}
