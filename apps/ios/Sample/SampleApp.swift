import SwiftUI

/// The screens of the sample, or the measuring screen where the host or the measuring test started the app.
@main
struct SampleApp: App {
    private let start = Start()

    var body: some Scene {
        WindowGroup {
            switch start.purpose {
            case .use: MainView()
            case .measure(let job): MeasureView(measurer: start.measurer, job: job)
            case .test: MeasureView(measurer: start.measurer, job: nil)
            }
        }
    }
}

/// What the app was started for.
@MainActor
private struct Start {
    enum Purpose {
        case use
        case measure(job: String)
        case test
    }

    let purpose: Purpose
    let measurer = Measurer()

    init() {
        let environment = ProcessInfo.processInfo.environment
        // XCTest sets such names in the app that hosts a test. The test then posts the job.
        if environment.keys.contains(where: { $0.hasPrefix("XCTest") }) {
            purpose = .test
            measurer.listen()
        } else if let job = environment["EDGEDISTILL_JOB"] {
            purpose = .measure(job: job)
        } else {
            purpose = .use
        }
    }
}
