package estimate

// weighted is a value that counts as much as its weight.
type weighted struct{ value, weight float64 }

// medians finds weighted medians, in memory of its own. The zero value is ready to
// use; it is not safe for concurrent use.
type medians struct{ sorter }

// middle is the weighted median, the mean of both where two are in the middle. It
// sorts the values.
func (m *medians) middle(values []weighted) float64 {
	m.sort(values)
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
