import AVFoundation
import SampleModel

/// The back camera: its session for a preview, and its frames.
///
/// `@unchecked`: after `init` only the queue changes the session.
final class Camera: NSObject, AVCaptureVideoDataOutputSampleBufferDelegate, @unchecked Sendable {
    let session = AVCaptureSession()
    /// The newest frame that nobody took yet; others are dropped. It ends with an error where there is no camera.
    let frames: AsyncThrowingStream<Frame, any Error>
    private let sink: AsyncThrowingStream<Frame, any Error>.Continuation
    private let queue = DispatchQueue(label: "edgedistill.camera")

    /// Asks for the camera where nobody did yet. nil where it is not allowed.
    static func allowed() async -> Camera? {
        await AVCaptureDevice.requestAccess(for: .video) ? Camera() : nil
    }

    private override init() {
        (frames, sink) = AsyncThrowingStream.makeStream(
            of: Frame.self, throwing: (any Error).self, bufferingPolicy: .bufferingNewest(1))
        super.init()
    }

    func start() {
        queue.async {
            do {
                try self.configure()
                self.session.startRunning()
            } catch {
                self.sink.finish(throwing: error)
            }
        }
    }

    func stop() {
        queue.async { self.session.stopRunning() }
    }

    private func configure() throws {
        guard session.inputs.isEmpty else { return }
        guard let device = AVCaptureDevice.default(.builtInWideAngleCamera, for: .video, position: .back) else {
            throw ModelError.input("found no back camera; choose a picture")
        }
        let input = try AVCaptureDeviceInput(device: device)
        let output = AVCaptureVideoDataOutput()
        // The system converts to RGB, by whatever matrix the camera has.
        output.videoSettings = [kCVPixelBufferPixelFormatTypeKey as String: kCVPixelFormatType_32BGRA]
        output.alwaysDiscardsLateVideoFrames = true
        output.setSampleBufferDelegate(self, queue: queue)
        session.beginConfiguration()
        defer { session.commitConfiguration() }
        // More pixels would only be scaled away.
        session.sessionPreset = .vga640x480
        guard session.canAddInput(input), session.canAddOutput(output) else {
            throw ModelError.input("the camera can't be used: another app has it; close that app")
        }
        session.addInput(input)
        session.addOutput(output)
    }

    func captureOutput(
        _ output: AVCaptureOutput, didOutput buffer: CMSampleBuffer, from connection: AVCaptureConnection
    ) {
        guard let pixels = CMSampleBufferGetImageBuffer(buffer) else { return }
        do {
            // The sensor lies on its side in a phone that is held upright, which is how this app is shown.
            sink.yield(try Frame(pixels, orientation: .right))
        } catch {
            sink.finish(throwing: error)
        }
    }
}
