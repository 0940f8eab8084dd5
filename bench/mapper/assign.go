package main

import (
	"errors"
	"reflect"
	"runtime"
	"time"

	"edged/mapper/assign"
)

// pops is how many PoPs there are in all parts.
const pops = 100

// assignUnits solves one problem cold, again on one processor, and warm after a
// drift.
func assignUnits(o options, r *report) error {
	p := newInstance(o.units, pops)
	r.add("units", float64(o.units), "")
	r.add("pops", pops, "")
	cold, err := r.solve("cold", p, 10)
	if err != nil {
		return err
	}
	dearest := 0.0
	for _, price := range cold.Prices {
		dearest = max(dearest, price)
	}
	r.add("dearest pop", dearest, "ms")
	all := runtime.GOMAXPROCS(1)
	again, err := assign.Solve(p)
	runtime.GOMAXPROCS(all)
	if err != nil {
		return err
	}
	if !reflect.DeepEqual(cold, again) {
		return errors.New("the result on one processor is another")
	}
	later := drift(p, cold)
	warm, err := r.solve("warm", later, 2)
	if err != nil {
		return err
	}
	demand := int64(0)
	for _, d := range later.Demand {
		demand += int64(d)
	}
	r.add("warm: demand moved", 100*float64(warm.Moved)/float64(demand), "%")
	return nil
}

func (r *report) solve(name string, p *assign.Problem, seconds float64) (*assign.Result, error) {
	start := time.Now()
	result, err := assign.Solve(p)
	if err != nil {
		return nil, err
	}
	r.most(name+": time", time.Since(start).Seconds(), "s", seconds)
	r.most(name+": above the bound", 100*(result.Cost-result.Bound)/result.Bound, "%", 0.5)
	r.most(name+": overload", float64(result.Overload()), "", 0)
	r.most(name+": shortages", float64(len(result.Shortages)), "", 0)
	r.add(name+": mean if all had their nearest", result.Nearest, "ms")
	r.add(name+": mean", result.Mean, "ms")
	return result, nil
}
