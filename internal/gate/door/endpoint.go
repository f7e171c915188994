package door

import (
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"strconv"

	"clerestory.dev/clerestory/internal/base/fault"
	"clerestory.dev/clerestory/internal/gate/passkey"
)

// routes are the endpoints. All but session answer POST with application/json:
//
//	POST enrol/begin     {token}                -> {ceremony, options}
//	POST enrol/finish    {ceremony, credential} -> {person}, and the cookie
//	POST sign-in/begin   {}                     -> {ceremony, options}
//	POST sign-in/finish  {ceremony, credential} -> {person}, and the cookie
//	POST touch           {action, object}       -> {ceremony, options}, for a form that is sent with the answer
//	POST demo            {person}               -> {person}, and the cookie
//	POST sign-out        {}                     -> {person: null}
//	GET  session                                -> {person}, null for a visitor
func (d *Door) routes() http.Handler {
	mux := http.NewServeMux()
	handle := func(pattern string, serve func(http.ResponseWriter, *http.Request) (any, error)) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Cache-Control", "no-store")
			answer, err := serve(w, r)
			if err != nil {
				d.Problem(w, r, err)
				return
			}
			w.Header().Set("Content-Type", "application/json")
			json.NewEncoder(w).Encode(answer)
		})
	}
	handle("POST "+Prefix+"enrol/begin", d.beginEnrol)
	handle("POST "+Prefix+"enrol/finish", d.finishEnrol)
	handle("POST "+Prefix+"sign-in/begin", d.beginSignIn)
	handle("POST "+Prefix+"sign-in/finish", d.finishSignIn)
	handle("POST "+Prefix+"touch", d.beginTouch)
	handle("POST "+Prefix+"demo", d.demo)
	handle("POST "+Prefix+"sign-out", d.signOut)
	handle("GET "+Prefix+"session", func(_ http.ResponseWriter, r *http.Request) (any, error) { return shownOf(Actor(r.Context())), nil })
	return mux
}

// input is the body of every endpoint; each uses its part.
type input struct {
	Token      string          `json:"token"`
	Ceremony   string          `json:"ceremony"`
	Credential json.RawMessage `json:"credential"`
	Person     string          `json:"person"`
	Action     string          `json:"action"`
	Object     string          `json:"object"`
}

// read takes an attempt from the caller's allowance and decodes the body. JSON
// is demanded by name: a form on another site can not send it.
func (d *Door) read(w http.ResponseWriter, r *http.Request) (input, error) {
	var in input
	if !d.limit.take(d.cfg.Address(r)) {
		w.Header().Set("Retry-After", strconv.Itoa(int(Caps.Window.Seconds())))
		return in, errTooMany
	}
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/json" {
		return in, fault.Invalid.New("the body must be application/json")
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, Caps.Body))
	if _, tooLong := errors.AsType[*http.MaxBytesError](err); tooLong {
		return in, fault.Invalid.New("the body has more than %d bytes", Caps.Body)
	}
	if err != nil {
		return in, fault.Invalid.New("reading the body: %w", err)
	}
	if err := json.Unmarshal(body, &in); err != nil {
		return in, fault.Invalid.New("reading the body: %w", err)
	}
	return in, nil
}

type begun struct {
	Ceremony string          `json:"ceremony"`
	Options  json.RawMessage `json:"options"`
}

type shown struct {
	Person *person `json:"person"`
}

type person struct {
	ID    string   `json:"id"`
	Name  string   `json:"name"`
	Roles []string `json:"roles"`
}

func shownOf(p passkey.Person) shown {
	if p.IsVisitor() {
		return shown{}
	}
	return shown{&person{ID: p.ID, Name: p.Name, Roles: append([]string{}, p.Roles...)}}
}

func (d *Door) beginEnrol(w http.ResponseWriter, r *http.Request) (any, error) {
	in, err := d.read(w, r)
	if err != nil {
		return nil, err
	}
	b, err := d.cfg.People.BeginEnrol(r.Context(), in.Token)
	return begun{b.Ceremony, b.Options}, err
}

func (d *Door) finishEnrol(w http.ResponseWriter, r *http.Request) (any, error) {
	in, err := d.read(w, r)
	if err != nil {
		return nil, err
	}
	signed, err := d.cfg.People.FinishEnrol(r.Context(), in.Ceremony, in.Credential, r.UserAgent())
	return d.welcome(w, r, signed, err)
}

func (d *Door) beginSignIn(w http.ResponseWriter, r *http.Request) (any, error) {
	if _, err := d.read(w, r); err != nil {
		return nil, err
	}
	b, err := d.cfg.People.BeginSignIn(r.Context())
	return begun{b.Ceremony, b.Options}, err
}

func (d *Door) finishSignIn(w http.ResponseWriter, r *http.Request) (any, error) {
	in, err := d.read(w, r)
	if err != nil {
		return nil, err
	}
	signed, err := d.cfg.People.FinishSignIn(r.Context(), in.Ceremony, in.Credential, r.UserAgent())
	return d.welcome(w, r, signed, err)
}

// beginTouch asks the passkey of whoever is signed in about one action on one
// object. The page's form carries the answer to the room, which spends it.
func (d *Door) beginTouch(w http.ResponseWriter, r *http.Request) (any, error) {
	in, err := d.read(w, r)
	if err != nil {
		return nil, err
	}
	b, err := d.cfg.People.BeginTouch(r.Context(), Actor(r.Context()), in.Action, in.Object)
	return begun{b.Ceremony, b.Options}, err
}

func (d *Door) demo(w http.ResponseWriter, r *http.Request) (any, error) {
	in, err := d.read(w, r)
	if err != nil {
		return nil, err
	}
	signed, err := d.cfg.People.DemoSignIn(r.Context(), in.Person, r.UserAgent())
	return d.welcome(w, r, signed, err)
}

// welcome gives the browser its new session, and ends the one that it had.
func (d *Door) welcome(w http.ResponseWriter, r *http.Request, in passkey.SignedIn, err error) (any, error) {
	if err != nil {
		return nil, err
	}
	if old, _ := d.sessionToken(r); old != "" {
		if err := d.cfg.People.SignOut(r.Context(), old); err != nil {
			return nil, err
		}
	}
	http.SetCookie(w, d.cookie(in.Token, int(in.Expires.Sub(d.cfg.Now()).Seconds())))
	return shownOf(in.Person), nil
}

func (d *Door) signOut(w http.ResponseWriter, r *http.Request) (any, error) {
	if _, err := d.read(w, r); err != nil {
		return nil, err
	}
	if token, _ := d.sessionToken(r); token != "" {
		if err := d.cfg.People.SignOut(r.Context(), token); err != nil {
			return nil, err
		}
	}
	http.SetCookie(w, d.cookie("", -1))
	return shown{}, nil
}
