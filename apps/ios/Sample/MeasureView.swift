import SwiftUI

/// The measuring screen. It measures as `job` says; without one it waits for that of the measuring test.
struct MeasureView: View {
    let measurer: Measurer
    let job: String?

    var body: some View {
        Text(measurer.message)
            .font(.title2)
            .padding()
            .task {
                if let job { _ = await measurer.measure(job) }
            }
    }
}
