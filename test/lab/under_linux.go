package lab

import (
	"errors"
	"time"
)

// Outcome is what clients saw while something happened.
type Outcome struct {
	Begun, Done time.Time // of what happened
	UDP, TCP    Record
}

// calm is how long clients ask before and after something happens.
const calm = time.Second

// Under has clients ask, calls do meanwhile, and returns what they saw, from a
// second before until a second after.
func (l *Lab) Under(r Rate, do func() error) (o Outcome, err error) {
	load := l.Client.Load(r)
	time.Sleep(calm)
	o.Begun = time.Now()
	err = do()
	o.Done = time.Now()
	time.Sleep(calm)
	var failed error
	o.UDP, o.TCP, failed = load.Stop()
	return o, errors.Join(err, failed)
}
