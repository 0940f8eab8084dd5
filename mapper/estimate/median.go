package estimate

import (
	"cmp"
	"slices"
)

// weighted is a value that counts as much as its weight.
type weighted struct{ value, weight float64 }

// sortValues sorts by value, and returns the sum of the weights.
func sortValues(values []weighted) (total float64) {
	slices.SortFunc(values, func(a, b weighted) int {
		switch {
		case a.value < b.value:
			return -1
		case a.value > b.value:
			return 1
		}
		return cmp.Compare(a.weight, b.weight)
	})
	for _, v := range values {
		total += v.weight
	}
	return total
}

// middle is the weighted median, the mean of both where two are in the middle.
func middle(values []weighted) float64 {
	sortValues(values)
	return middleSorted(values)
}

// middleSorted is the middle of values that are sorted.
func middleSorted(values []weighted) float64 {
	total, sum := 0.0, 0.0
	for _, v := range values {
		total += v.weight
	}
	for i, v := range values {
		switch sum += v.weight; {
		case sum > total/2:
			return v.value
		case sum == total/2 && i+1 < len(values):
			return (v.value + values[i+1].value) / 2
		}
	}
	return values[len(values)-1].value
}
