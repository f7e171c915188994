//go:build js && wasm

// Command wasm is package verify for the browser. It puts one object in the
// global scope, clerestory, whose functions take and return text: judge, trust,
// checkpoint and compare, as package answer describes them. Then it waits.
//
// It has no network, no files and no clock of its own: the worker that runs it
// hands in bytes and the time. A call with the wrong arguments is answered with
// a sentence; nothing that JavaScript passes can end the program.
package main

import (
	"syscall/js"
	"time"

	"clerestory.dev/clerestory/internal/window/portal/verify/wasm/answer"
	"clerestory.dev/clerestory/verify"
)

func main() {
	js.Global().Set("clerestory", map[string]any{
		// judge(trust, bundle, name, size, sha256, now)
		"judge": function("sssnsn", func(a []js.Value) string {
			file := verify.Artifact{Name: a[2].String(), Size: int64(a[3].Float()), SHA256: a[4].String()}
			return answer.Judge(a[0].String(), a[1].String(), file, at(a[5]))
		}),
		// trust(trust, now)
		"trust": function("sn", func(a []js.Value) string {
			return answer.Trust(a[0].String(), at(a[1]))
		}),
		// checkpoint(trust, checkpoint)
		"checkpoint": function("ss", func(a []js.Value) string {
			return answer.Checkpoint(a[0].String(), a[1].String())
		}),
		// compare(trust, ours, theirs, witness, proof)
		"compare": function("sssss", func(a []js.Value) string {
			return answer.Compare(a[0].String(), a[1].String(), a[2].String(), a[3].String(), a[4].String())
		}),
	})
	select {}
}

// function checks the arguments before Go reads them: one letter each, s for a
// string and n for a number. A string that is longer than anything allowed is
// refused before it is copied.
func function(kinds string, do func([]js.Value) string) js.Func {
	object := js.Global().Get("Object") // syscall/js cannot ask a bare string for its length
	return js.FuncOf(func(_ js.Value, args []js.Value) (result any) {
		defer func() {
			if p := recover(); p != nil { // a call that syscall/js itself refuses
				result = answer.Refuse("the verifier failed: nothing was checked")
			}
		}()
		if len(args) != len(kinds) {
			return answer.Refuse("the verifier was called with the wrong number of arguments")
		}
		for i, a := range args {
			want := js.TypeString
			if kinds[i] == 'n' {
				want = js.TypeNumber
			}
			if a.Type() != want {
				return answer.Refuse("the verifier was called with an argument of the wrong type")
			}
			if want == js.TypeString && object.New(a).Get("length").Int() > verify.Limits.Bundle {
				return answer.Refuse("the text has more than 8 MB: it is not a bundle, root or checkpoint")
			}
		}
		return do(args)
	})
}

// at reads JavaScript's time: milliseconds since 1970.
func at(v js.Value) time.Time { return time.UnixMilli(int64(v.Float())).UTC() }
