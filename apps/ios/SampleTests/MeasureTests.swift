import XCTest

/// Measures in the app, as `edgedistill bench FILE` does with the option `app`, and keeps the records with the results.
///
/// The job is that of EDGEDISTILL_JOB, or else the file edgedistill/job.json of the app's documents.
final class MeasureTests: XCTestCase {
    @MainActor
    func testMeasure() async throws {
        let job = try XCTUnwrap(
            ProcessInfo.processInfo.environment["EDGEDISTILL_JOB"] ?? Self.written(),
            "found no job: set TEST_RUNNER_EDGEDISTILL_JOB for xcodebuild, or write Documents/edgedistill/job.json")
        let measured = XCTNSNotificationExpectation(name: Notification.Name("edgedistill.measured"))
        measured.handler = { note in
            XCTAssertEqual(note.userInfo?["failure"] as? String, "")
            return true
        }
        NotificationCenter.default.post(
            name: Notification.Name("edgedistill.measure"), object: nil, userInfo: ["job": job])
        // An app may take as long as the host waits.
        await fulfillment(of: [measured], timeout: 3000)
        struct Job: Decodable { let out: String }
        let out = try JSONDecoder().decode(Job.self, from: Data(job.utf8)).out
        let records = XCTAttachment(contentsOfFile: URL.documentsDirectory.appending(path: out))
        records.lifetime = .keepAlways
        add(records)
    }

    private static func written() -> String? {
        try? String(contentsOf: .documentsDirectory.appending(path: "edgedistill/job.json"), encoding: .utf8)
    }
}
