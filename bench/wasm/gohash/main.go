//go:build js && wasm

// Command gohash is Go's SHA-256 for the benchmark in the folder above.
package main

import (
	"crypto/sha256"
	"encoding/hex"
	"hash"
	"syscall/js"
)

func main() {
	var h hash.Hash
	buf := make([]byte, 4<<20)
	js.Global().Set("goHash", map[string]any{
		"reset": js.FuncOf(func(js.Value, []js.Value) any { h = sha256.New(); return nil }),
		"update": js.FuncOf(func(_ js.Value, a []js.Value) any {
			h.Write(buf[:js.CopyBytesToGo(buf, a[0])])
			return nil
		}),
		"sum": js.FuncOf(func(js.Value, []js.Value) any { return hex.EncodeToString(h.Sum(nil)) }),
	})
	select {}
}
