// Package update is the client that a product embeds to update itself: it puts
// nothing in place that did not come through the vendor's whole release process.
//
// It promises that an installed version was named by the vendor's TUF repository,
// stands in the vendor's log with the quorum of witnesses, was approved, was not
// revoked, and was rebuilt by as many builders as the product's policy asks for;
// that a power cut or a kill at any moment leaves the old version or the new one;
// and that the last good version stays when anything is wrong.
//
// It refuses to go back: to an older state of the repository, of the log or of
// the channel. It believes one file, the trusted root, and needs no server of
// Clerestory: a plain static mirror will do. Each refusal is a [Refusal] whose
// Code says which attack or accident it is and whose text says exactly why.
//
// Start at [New] and [Client.Update]. [Head] is what a channel offers;
// [MakeDelta] and [ApplyDelta] are how small a change travels.
package update
