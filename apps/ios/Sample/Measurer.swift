import Observation
import UIKit
import os

/// Measures as a job says, while the app is in front.
@MainActor
@Observable
final class Measurer {
    /// What goes on, for the screen.
    private(set) var message = "Waiting for a job."

    /// Measures as the job `text` says. Returns what went wrong; nil where nothing did.
    func measure(_ text: String) async -> String? {
        message = "Measuring. Do not touch the phone."
        UIApplication.shared.isIdleTimerDisabled = true
        UIDevice.current.isBatteryMonitoringEnabled = true
        let left = OSAllocatedUnfairLock(initialState: UIApplication.shared.applicationState == .background)
        // The system stops an app that is not in front after some seconds. They suffice to write the error.
        let observer = NotificationCenter.default.addObserver(
            forName: UIApplication.didEnterBackgroundNotification, object: nil, queue: nil
        ) { _ in left.withLock { $0 = true } }
        defer {
            NotificationCenter.default.removeObserver(observer)
            UIDevice.current.isBatteryMonitoringEnabled = false
            UIApplication.shared.isIdleTimerDisabled = false
        }
        let gauges = Gauges.ofThisPhone {
            if left.withLock({ $0 }) { throw MeasureError("the app left the foreground; keep the phone unlocked") }
        }
        let failure = await Task.detached(priority: .userInitiated) {
            await record(text, in: .documentsDirectory, gauges)
        }.value
        message = failure ?? "Measured."
        // Without a place for records, the host finds it here.
        if let failure { Logger(subsystem: "edgedistill", category: "measure").error("\(failure, privacy: .public)") }
        return failure
    }

    /// Measures what the measuring test posts, and posts what went wrong.
    ///
    /// The test does not import the app: for that, the app would have to be built for tests, and then it would not be
    /// the build that ships.
    func listen() {
        // For as long as the app runs.
        _ = NotificationCenter.default.addObserver(
            forName: Notification.Name("edgedistill.measure"), object: nil, queue: nil
        ) { note in
            let job = note.userInfo?["job"] as? String ?? ""
            Task { @MainActor in
                let failure = await self.measure(job)
                NotificationCenter.default.post(
                    name: Notification.Name("edgedistill.measured"), object: nil, userInfo: ["failure": failure ?? ""])
            }
        }
    }
}
