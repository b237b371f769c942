import SwiftUI

/// What the classifier said last, how long it took, and what runs.
struct ResultView: View {
    let classifier: Classifier

    var body: some View {
        ScrollView {
            VStack(alignment: .leading, spacing: 8) {
                ForEach(classifier.top, id: \.label) { candidate in
                    let share = candidate.probability.formatted(.percent.precision(.fractionLength(1)))
                    Text("\(candidate.label.name)  \(share)")
                        .font(.headline)
                    ProgressView(value: candidate.probability)
                }
                if let latency = classifier.latency {
                    let ms = latency.formatted(.number.precision(.fractionLength(1)))
                    Text("\(ms) ms, median of the last \(classifier.latencies.count)")
                }
                if let info = classifier.info {
                    Text([info.artifact, info.runtime, info.version].compactMap { $0 }.joined(separator: ", "))
                    Text("Computed by: \(info.delegate)")
                } else if classifier.message == nil {
                    Text("Loading the model…")
                }
                if let message = classifier.message { Text(message) }
            }
            .frame(maxWidth: .infinity, alignment: .leading)
        }
    }
}
